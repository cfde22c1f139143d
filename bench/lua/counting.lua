-- What all scripts share: every answer's status is looked at, and of one in a hundred the body; each is counted as right or
-- wrong. The last line printed is the report.
--
-- A script sets `expects`, the statuses that are right, and `shows(body, status)`, which says whether a body is what was asked
-- for; it may set `learn(status, headers, body)`, which is told every answer that is right. wrk's own count of errors is of no
-- use here: a refusal is a 402 by design, and a 503 would not be told from it.
--
-- wrk is one of the programs that share the processors: nothing here does for each answer what can be done once. It takes no
-- more open files than thrice the connections and ten, so each file is closed.

right, wrong, shown_wrong = 0, 0, ""
number = 0  -- of this thread, from 0

local LOOK_AT_ONE_IN = 100
local threads = {}
local until_next = 1

function setup(thread)
  thread:set("number", #threads)
  threads[#threads + 1] = thread
end

function response(status, headers, body)
  local good = expects[status] or false
  until_next = until_next - 1
  if good and until_next <= 0 then
    until_next = LOOK_AT_ONE_IN
    good = shows(body, status)
  end
  if good then
    right = right + 1
    if learn then learn(status, headers, body) end
  else
    wrong = wrong + 1
    if wrong == 1 then shown_wrong = status .. " " .. body:sub(1, 300) end
  end
end

-- 24 characters that no other thread has sent, and no other run: runs begin in different seconds.
local prefix
local drawn = 100000000000
function fresh()
  drawn = drawn + 1
  prefix = prefix or string.format("%08x%04x", os.time() % 0xffffffff, number)
  return prefix .. drawn
end

-- Give a function of the named values that fills a template in: <<name>> stands for a value.
function filled_in(file, ...)
  local opened = assert(io.open(file, "rb"))
  local text = opened:read("*a")
  opened:close()
  local parts, code = {}, {}
  local function keep(part)
    parts[#parts + 1] = part
    code[#code + 1] = "p" .. #parts
  end
  local at = 1
  for before, name, after in text:gmatch("()<<(%a+)>>()") do
    keep(text:sub(at, before - 1))
    code[#code + 1] = name
    at = after
  end
  keep(text:sub(at))
  local names = {}
  for index = 1, #parts do names[index] = "p" .. index end
  local made = string.format("local %s = ...; return function(%s) return %s end",
    table.concat(names, ", "), table.concat({...}, ", "), table.concat(code, " .. "))
  return assert(loadstring(made))(unpack(parts))
end

-- Give at most so many lines of a file, from anywhere in it.
function some_lines(name, most)
  math.randomseed(os.time() + number)
  local file, lines = assert(io.open(name, "rb")), {}
  local size = file:seek("end")
  local first = math.random(0, size - 1)
  file:seek("set", first)
  file:read("*l")  -- perhaps the end of a line
  for line in file:lines() do
    lines[#lines + 1] = line
    if #lines == most then break end
  end
  if #lines < most then file:seek("set", 0) end
  while file:seek() <= first and #lines < most do lines[#lines + 1] = file:read("*l") end
  file:close()
  return lines
end

function line_at(name, wanted)
  local file, line = assert(io.open(name, "rb")), nil
  for _ = 1, wanted do line = file:read("*l") end
  file:close()
  return assert(line, name .. " has too few lines")
end

function done(summary, latency, requests)
  local right, wrong, shown = 0, 0, ""
  for _, thread in ipairs(threads) do
    right, wrong = right + thread:get("right"), wrong + thread:get("wrong")
    if shown == "" then shown = thread:get("shown_wrong") end
  end
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  if lost > 0 then
    shown = string.format("%d lost: not connected %d, not read %d, not written %d, too late %d. %s",
      lost, errors.connect, errors.read, errors.write, errors.timeout, shown)
  end
  if shown ~= "" then io.write("a wrong answer: ", shown:gsub("%c", " "), "\n") end
  io.write(string.format(
    'report {"seconds": %.6f, "right": %d, "wrong": %d, "lost": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    summary.duration / 1e6, right, wrong, lost, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
