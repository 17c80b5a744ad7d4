-- ARGV: tenant, the digest's delivery, its fence, now, then of each item: id, state, reason.  Returns whether the claim
-- was still held.
local carrier, now = row_of(ARGV[2]), tonumber(ARGV[4])
if not carrier or carrier[TENANT] ~= ARGV[1] or carrier[STATE] ~= 'sending' or carrier[FENCE] ~= tonumber(ARGV[3]) then
  return 0
end
for at = 5, #ARGV, 3 do
  local row, item = listed(ARGV[at])
  if item and item[I_DIGEST] == ARGV[2] then
    end_item(ARGV[at], row, item, ARGV[at + 1], ARGV[at + 2], now)
  end
end
flush()
return 1
