-- refusal: a thousand programs that want a seat of a full pool, and ask again and again.  arguments: request, code
require "counting"

local PROGRAMS = 1000
local ask, code, turn, seats = nil, "", 0, {}

expects = {[402] = true}

function init(args)
  ask, code = filled_in(args[1], "seat", "nonce", "code"), args[2]
  for program = 1, PROGRAMS do seats[program] = string.format("latecomer-%014d", program) end
end

function request()
  turn = turn % PROGRAMS + 1
  return ask(seats[turn], fresh(), code)
end

function shows(body) return body:find('"holders":[{', 1, true) ~= nil and body:find('"remedies":[{', 1, true) ~= nil end
