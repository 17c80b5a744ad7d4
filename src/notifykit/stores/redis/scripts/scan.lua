-- ARGV: a hash, the cursor, the column of its values that is meant (0 for the value itself), how many to look at.
-- Returns the next cursor, and pairs of field and text.
local column, found = tonumber(ARGV[3]), {}
local scanned = call('HSCAN', P .. ARGV[1], ARGV[2], 'COUNT', ARGV[4])
for at = 1, #scanned[2], 2 do
  local text = scanned[2][at + 1]
  if column > 0 then
    local row = unpacked(text)
    text = row and row[column]
  end
  if text then
    found[#found + 1] = { scanned[2][at], text }
  end
end
return { scanned[1], found }
