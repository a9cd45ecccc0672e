-- SPDX-License-Identifier: Apache-2.0
-- For wrk: transfers between random accounts, each with an Idempotency-Key of its own.
--   wrk -s transfers.lua URL -- SEED ACCOUNTS

local accounts = 0
local seed = 0
local sent = 0

function init(args)
  seed = args[1]
  accounts = tonumber(args[2])
  math.randomseed(tonumber(seed))
end

function request()
  local from = math.random(accounts)
  local to = (from + math.random(accounts - 1) - 1) % accounts + 1
  sent = sent + 1
  return wrk.format("POST", nil, {
    ["Content-Type"] = "application/json",
    ["Idempotency-Key"] = seed .. "-" .. sent,
  }, string.format('{"from":%d,"to":%d,"amount":1}', from, to))
end
