-- ARGV: the filter, the limit, the bound, how many to look at.  Returns the deliveries, newest first, and the last id
-- that was looked at if there may be more.
local wanted, limit, bound, most = wanted_from(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local found, looked = {}, 0
for id in candidates(wanted, bound ~= '' and bound or nil, true) do
  local row = listed(id)
  if row and matches(row, wanted) then
    found[#found + 1] = answer(id, row)
  end
  looked, bound = looked + 1, id
  if #found == limit or looked == most then
    return { found, #found < limit and bound }
  end
end
return { found, false }
