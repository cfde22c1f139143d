-- Requests that were written beforehand, one after the other.
-- arguments: requests, the right status, what a body must contain, what it must not (optional)
-- In the file, a request is a line in which \r\n is written as a tab.
require "counting"

local requests, turn, wanted, unwanted = {}, 0, "", nil

expects = {}

function init(args)
  for line in io.lines(args[1]) do requests[#requests + 1] = line:gsub("\t", "\r\n") end
  expects[tonumber(args[2])], wanted, unwanted = true, args[3], args[4]
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function shows(body)
  return body:find(wanted, 1, true) ~= nil and not (unwanted and body:find(unwanted, 1, true))
end
