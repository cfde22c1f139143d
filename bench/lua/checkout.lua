-- checkout: each connection is a program that draws one of a feature again and again, showing the nonce that it was last given.
-- arguments: request, programs, how many of them to pass over
require "counting"

local ask, token, next_nonce

expects = {[200] = true}

function init(args)
  ask = filled_in(args[1], "token", "next", "nonce")
  token, next_nonce = line_at(args[2], args[3] + number + 1):match("^(%S+) (%S+)")
end

function request() return ask(token, next_nonce, fresh()) end

function learn(status, headers) next_nonce = headers["n-nonce"] end

function shows(body) return body:find('"lease":"', 1, true) ~= nil end
