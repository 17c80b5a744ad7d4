-- ARGV: a hash, the column of its values that is meant (0 for the value itself), then fields, the texts that they had,
-- and new ones.  Returns how many were replaced: others have changed.
local key, column, replaced = P .. ARGV[1], tonumber(ARGV[2]), 0
for at = 3, #ARGV, 3 do
  local field, old, new = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local stored = call('HGET', key, field)
  local row = column > 0 and unpacked(stored)
  if row and row[column] == old then
    row[column] = new
    call('HSET', key, field, cmsgpack.pack(row))
    replaced = replaced + 1
  elseif column == 0 and stored == old then
    call('HSET', key, field, new)
    replaced = replaced + 1
    local line = ARGV[1] == 'e' and described(new)
    if line and line[15] ~= cjson.null then -- what is known of its idempotency key
      local name = pair(line[2], line[15])
      local held = unpacked(call('HGET', P .. 'k', name))
      if held and held[1] == field and line[16] ~= cjson.null then
        call('HSET', P .. 'k', name, cmsgpack.pack({ field, line[16] }))
      end
    end
  end
end
return replaced
