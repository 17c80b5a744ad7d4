-- ARGV: tenant, after which id, how many to look at, then texts.  Returns the events whose first line has one of the
-- texts in it, and the last id that was looked at if there are more.
local ids = call('ZRANGEBYLEX', P .. 'ie:' .. ARGV[1], ARGV[2] == '' and '-' or '(' .. ARGV[2], '+', 'LIMIT', 0, ARGV[3])
local found = {}
for at, raw in ipairs(hmget(P .. 'e', ids)) do
  local line = raw and string.sub(raw, 1, (string.find(raw, '\n', 1, true) or 1) - 1)
  for text = 4, #ARGV do
    if line and string.find(line, ARGV[text], 1, true) then
      found[#found + 1] = { ids[at], line }
      break
    end
  end
end
return { found, #ids == tonumber(ARGV[3]) and ids[#ids] }
