-- ARGV: until when, then pairs of delivery and fence.  Returns the ids that are still held.
local until_, held = tonumber(ARGV[1]), {}
for at = 2, #ARGV, 2 do
  local id = ARGV[at]
  local row = row_of(id)
  if row and row[STATE] == 'sending' and row[FENCE] == tonumber(ARGV[at + 1]) then
    row[LEASE], changed[id] = until_, true
    zset(P .. 'leases', id, until_)
    held[#held + 1] = id
  end
end
flush()
return held
