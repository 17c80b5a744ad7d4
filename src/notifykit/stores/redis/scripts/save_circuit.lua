-- ARGV: tenant, key, the version, the circuit (JSON without it).  Returns whether it was saved.
local tenant, key, version = ARGV[1], ARGV[2], tonumber(ARGV[3])
local old = unpacked(call('HGET', P .. 'circuits', pair(tenant, key)))
if (old and old[1] or 0) ~= version or (tenant ~= '' and not record_of('endpoint', tenant, key)) then
  return 0
end
call('HSET', P .. 'circuits', pair(tenant, key), cmsgpack.pack({ version + 1, ARGV[4] }))
return 1
