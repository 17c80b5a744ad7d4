-- ARGV: kind, tenant, id, now, whether the tenant's version is raised.  Returns whether there was such a record.
local kind, tenant, id, now = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if not drop_record(kind, tenant, id) then
  return 0
end
local raises = ARGV[5] == '1'
if kind == 'endpoint' then
  drop_subscriptions(tenant, id)
  call('HDEL', P .. 'circuits', pair(tenant, id))
  call('HDEL', P .. 'b', pair(tenant, id))
  cancel_all(tenant, id, 'endpoint_deleted', now)
elseif kind == 'recipient' then
  raises = drop_subscriptions(tenant, id) > 0
  cancel_all(tenant, id, 'recipient_deleted', now)
end
if raises then
  raise_version(tenant)
end
flush()
return 1
