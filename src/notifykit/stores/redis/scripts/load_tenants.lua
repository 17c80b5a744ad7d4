-- ARGV: tenants (JSON), how many endpoints and subscriptions of each at the most (empty for any number).
local most, answers = tonumber(ARGV[2]), {}
for number, tenant in ipairs(cjson.decode(ARGV[1])) do
  local found = { call('HGET', P .. 'v', tenant) or '0' }
  for at, kind in ipairs({ 'endpoint', 'subscription' }) do
    local key = P .. 'ri:' .. pair(kind, tenant)
    if most and call('ZCARD', key) > most then
      found = false
      break
    end
    found[at + 1] = read_records(kind, tenant, call('ZRANGE', key, 0, -1))
  end
  answers[number] = found
end
return answers
