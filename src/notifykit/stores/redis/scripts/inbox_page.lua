-- ARGV: tenant, recipient, the filter, now, the limit, before which number.  Returns the number of the last change, and
-- the items.
local name, items, limit = name_of(ARGV[1], ARGV[2]), {}, tonumber(ARGV[5])
local inbox = inbox_of(name)
newest(name, cjson.decode(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[6]), function(id, item)
  items[#items + 1] = item_answer(id, item)
  return #items == limit
end)
return { inbox and inbox[LAST] or 0, items }
