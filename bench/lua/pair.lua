-- activate+return: whoever got a seat gives it back, and a new program takes one.
-- arguments: request to take, request to give back, codes
require "counting"

local ask, give, codes, turn, held, holding = nil, nil, {}, 0, {}, 0

expects = {[201] = true, [204] = true}

function init(args)
  ask, give = filled_in(args[1], "seat", "nonce", "code"), filled_in(args[2], "token")
  codes = some_lines(args[3], 1e9)
end

function request()
  if holding > 0 then
    holding = holding - 1
    return give(held[holding + 1])
  end
  turn = turn % #codes + 1
  local seat = fresh()
  return ask(seat, seat, codes[turn])
end

function learn(status, headers, body)
  if status == 201 then
    holding = holding + 1
    held[holding] = body:match('"accessToken":"([^"]+)"')
  end
end

function shows(body, status) return status == 204 or body:find('"lease":"', 1, true) ~= nil end
