-- ARGV: tenant, then pairs of recipient and event.  Returns the earliest of each mark of its items, by the place of the
-- pair.
local found = {}
for at = 2, #ARGV, 2 do
  local name, first = name_of(ARGV[1], ARGV[at]), 'dlv_' .. string.sub(ARGV[at + 1], 5)
  local marks
  for _, id in ipairs(call('ZRANGEBYLEX', P .. 'inbox:ids:' .. name, '[' .. first, '(' .. first .. '~')) do
    local item = item_of(name, id)
    marks = marks or { (at - 2) / 2, false, false, false, false }
    for column = SEEN, SNOOZED do
      local mark, known = item[column], marks[column - 1]
      marks[column - 1] = mark and known and math.min(mark, known) or mark or known
    end
  end
  if marks then
    found[#found + 1] = marks
  end
end
return found
