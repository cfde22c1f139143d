-- refresh: every live lease in turn, with a client's nonce and leaseTypes each time, as programs do.  arguments: tenant, tokens
require "counting"

local headers, tokens, turn = {}, {}, 0

function init(args)
  headers["N-TenantId"] = args[1]
  headers["Content-Type"] = "application/json"
  tokens = read_lines(args[2])
  turn = math.random(0, #tokens - 1)
end

function request()
  turn = turn % #tokens + 1
  headers["Authorization"] = "Bearer " .. tokens[turn]
  return wrk.format("PATCH", "/api/v1/activation/refresh", headers, '{"clientNonce":"' .. fresh() .. '","leaseTypes":["tree"]}')
end

function expected(status, body) return status == 200 and body:find('"lease":"', 1, true) ~= nil end
