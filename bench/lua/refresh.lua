-- refresh: any live lease, one after the other, each time with a nonce of the client's.  arguments: request, tokens
require "counting"

local MOST = 100000  -- leases that one run goes round
local ask, tokens, turn = nil, {}, 0

expects = {[200] = true}

function init(args)
  ask = filled_in(args[1], "token", "nonce")
  tokens = some_lines(args[2], MOST)
end

function request()
  turn = turn % #tokens + 1
  return ask(tokens[turn], fresh())
end

function shows(body) return body:find('"lease":"', 1, true) ~= nil end
