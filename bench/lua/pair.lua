-- activate+return: whoever got a seat gives it back, and a new program takes one.  arguments: tenant, product, code
-- A pair is two calls; the times are those of one call.
require "counting"

local asking, giving = {}, {}
local head, held = "", {}

function init(args)
  asking["N-TenantId"], giving["N-TenantId"] = args[1], args[1]
  asking["Content-Type"] = "application/json"
  head = string.format('{"productId":"%s","activationCode":"%s","seatId":"', args[2], args[3])
end

function request()
  local token = table.remove(held)
  if token then
    giving["Authorization"] = "Bearer " .. token
    return wrk.format("DELETE", "/api/v1/activation", giving)
  end
  local seat = fresh()
  local body = head .. seat .. '","seatName":"user@' .. seat .. '","clientNonce":"' .. seat .. '","leaseTypes":["tree"]}'
  return wrk.format("POST", "/api/v1/activate", asking, body)
end

function expected(status, body)
  if status == 204 then return true end
  if status ~= 201 then return false end
  held[#held + 1] = body:match('"accessToken":"([^"]+)"')
  return true
end
