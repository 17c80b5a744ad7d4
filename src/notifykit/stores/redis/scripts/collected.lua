-- ARGV: tenant, delivery.  Returns how many the digest has collected, and pairs of delivery and event, of the first.
local digest = digest_of(ARGV[2])
if not digest or digest[X_TENANT] ~= ARGV[1] then
  return false
end
local key, items = P .. 'x:' .. ARGV[2], {}
for at, id in ipairs(call('ZRANGE', key, 0, digest[X_MOST] - 1)) do
  local item = unpacked(call('HGET', P .. 'c', id))
  items[at] = { id, call('HGET', P .. 'e', item[I_EVENT]) }
end
return { call('ZCARD', key), items }
