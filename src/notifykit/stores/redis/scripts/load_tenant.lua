-- ARGV: tenant, how many endpoints and subscriptions at the most (empty for any number).
local tenant, most, found = ARGV[1], tonumber(ARGV[2]), { call('HGET', P .. 'v', ARGV[1]) or '0' }
for at, kind in ipairs({ 'endpoint', 'subscription' }) do
  local key = P .. 'ri:' .. pair(kind, tenant)
  if most and call('ZCARD', key) > most then
    return false
  end
  found[at + 1] = read_records(kind, tenant, call('ZRANGE', key, 0, -1))
end
return found
