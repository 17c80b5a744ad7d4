-- ARGV: tenant, recipient, the limit.  Returns how many items were deleted.
local name = name_of(ARGV[1], ARGV[2])
local ids = call('ZRANGE', P .. 'inbox:all:' .. name, 0, tonumber(ARGV[3]) - 1)
for _, id in ipairs(ids) do
  call('HDEL', P .. 'inbox:' .. name, id)
  call('ZREM', P .. 'inbox:changes:' .. name, id)
  call('ZREM', P .. 'inbox:ids:' .. name, id)
  for set in pairs(SETS) do
    call('ZREM', P .. 'inbox:' .. set .. ':' .. name, id)
  end
end
if call('EXISTS', P .. 'inbox:' .. name) == 0 then
  call('HDEL', P .. 'inboxes', name)
end
notify_inboxes()
return #ids
