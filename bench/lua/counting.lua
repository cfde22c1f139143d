-- What all scripts share: every answer is looked at, and counted as right or wrong. The last line printed is the report.
--
-- A script sets `expected(status, body)`, which says whether an answer is what was asked for. wrk's own count of errors is
-- of no use here: a refusal is a 402 by design, and a 503 would not be told from it.

right, wrong = 0, 0

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function response(status, headers, body)
  if expected(status, body) then right = right + 1 else wrong = wrong + 1 end
end

-- Something of 16 characters at least that no other run has sent.
local run = string.format("%08x", os.time() % 0xffffffff)
local drawn = 0
math.randomseed(os.time())
local salt = string.format("%08x", math.random(0, 0x7fffffff))

function fresh()
  drawn = drawn + 1
  return run .. salt .. string.format("%08d", drawn)
end

function read_lines(name)
  local lines = {}
  for line in io.lines(name) do lines[#lines + 1] = line end
  return lines
end

function done(summary, latency, requests)
  local right, wrong = 0, 0
  for _, thread in ipairs(threads) do
    right, wrong = right + thread:get("right"), wrong + thread:get("wrong")
  end
  local lost = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format(
    'report {"seconds": %.6f, "right": %d, "wrong": %d, "lost": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    summary.duration / 1e6, right, wrong, lost, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
