-- refresh-sdk: each connection is a program that keeps its seat, showing the nonce and the lease that it was last given.
-- arguments: request, programs, how many of them to pass over, length of a body but for the lease
require "counting"

local ask, token, next_nonce, lease, length

expects = {[200] = true}

function init(args)
  ask = filled_in(args[1], "token", "next", "nonce", "lease", "length")
  token, next_nonce, lease = line_at(args[2], args[3] + number + 1):match("^(%S+) (%S+) (%S+)")
  length = tonumber(args[4])
end

function request() return ask(token, next_nonce, fresh(), lease, length + #lease) end

function learn(status, headers, body)
  next_nonce, lease = headers["n-nonce"], body:match('"lease":"([^"]+)"')
end

function shows(body) return body:find('"lease":"', 1, true) ~= nil end
