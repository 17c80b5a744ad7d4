-- ARGV: kind, tenant, after which id, the limit, of which subscriber (a list of none or one).
local kind, tenant, after, subscriber = ARGV[1], ARGV[2], ARGV[3], cjson.decode(ARGV[5])[1]
local key = P .. 'ri:' .. pair(kind, tenant)
if subscriber then
  if kind ~= 'subscription' then
    return {}
  end
  key = P .. 'rs:' .. pair(tenant, subscriber)
end
local ids = call('ZRANGEBYLEX', key, after == '' and '-' or '(' .. after, '+', 'LIMIT', 0, ARGV[4])
return read_records(kind, tenant, ids)
