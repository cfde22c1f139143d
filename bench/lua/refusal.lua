-- refusal: programs that want a seat of a full pool and ask again and again.  arguments: tenant, product, code
require "counting"

local PROGRAMS = 1000
local headers, head, turn = {}, "", 0

function init(args)
  headers["N-TenantId"] = args[1]
  headers["Content-Type"] = "application/json"
  head = string.format('{"productId":"%s","activationCode":"%s","seatId":"latecomer-', args[2], args[3])
  turn = math.random(0, PROGRAMS - 1)
end

function request()
  turn = turn % PROGRAMS + 1
  local body = head .. turn .. '","seatName":"late@machine-' .. turn .. '","clientNonce":"' .. fresh() .. '"}'
  return wrk.format("POST", "/api/v1/activate", headers, body)
end

function expected(status, body)
  return status == 402 and body:find('"holders":[{', 1, true) ~= nil and body:find('"remedies":[{', 1, true) ~= nil
end
