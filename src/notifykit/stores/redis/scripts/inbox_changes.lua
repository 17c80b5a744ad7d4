-- ARGV: tenant, the limit, then pairs of recipient and number.  Returns of each inbox with changes the place of its
-- pair, the items, the number to go on from, whether there are more, and whether it was erased since.
local limit, found = tonumber(ARGV[2]), {}

local function changes(name, inbox, since)
  local key = P .. 'inbox:changes:' .. name
  local ids = call('ZRANGEBYSCORE', key, '(' .. int(since), '+inf', 'LIMIT', 0, limit + 1)
  local cursor = inbox[LAST]
  if #ids > limit then
    local ends = item_of(name, ids[#ids])[CHANGE]
    -- Items that were marked together are not torn apart.
    ids = call('ZRANGEBYSCORE', key, '(' .. int(since), '(' .. int(ends))
    if #ids == 0 then
      ids = call('ZRANGEBYSCORE', key, int(ends), int(ends))
    end
    cursor = item_of(name, ids[#ids])[CHANGE]
  end
  local items = {}
  for at, raw in ipairs(hmget(P .. 'inbox:' .. name, ids)) do
    items[at] = { ids[at], unpacked(raw) }
  end
  table.sort(items, function(a, b)
    if a[2][CHANGE] ~= b[2][CHANGE] then
      return a[2][CHANGE] < b[2][CHANGE]
    end
    return a[2][NUMBER] < b[2][NUMBER]
  end)
  for at, each in ipairs(items) do
    items[at] = item_answer(unpack(each))
  end
  return items, cursor
end

for at = 3, #ARGV, 2 do
  local name, since = name_of(ARGV[1], ARGV[at]), tonumber(ARGV[at + 1])
  local inbox = inbox_of(name)
  if inbox and inbox[LAST] ~= since then
    local items, cursor = changes(name, inbox, since)
    local is_reset = since > 0 and since < inbox[BASE]
    found[#found + 1] = { (at - 3) / 2, items, cursor, cursor < inbox[LAST] and 1 or 0, is_reset and 1 or 0 }
  elseif not inbox and since > 0 then
    found[#found + 1] = { (at - 3) / 2, {}, 0, 0, 1 }
  end
end
return found
