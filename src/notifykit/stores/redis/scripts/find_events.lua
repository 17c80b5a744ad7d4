-- ARGV: tenant, the filter, the limit, the bound, how many to look at.  Returns events, newest first, and the last id
-- that was looked at if there may be more.
local tenant, wanted, limit, bound, most = ARGV[1], cjson.decode(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local ids
if wanted.key then
  local held = unpacked(call('HGET', P .. 'k', pair(tenant, wanted.key)))
  local is_meant = held and (not wanted.ids or set_of(wanted.ids)[held[1]])
  wanted.ids = is_meant and { held[1] } or {}
end
if wanted.ids then
  ids = {}
  for _, id in ipairs(wanted.ids) do
    if bound == '' or precedes(id, bound) then
      ids[#ids + 1] = id
    end
  end
  table.sort(ids, function(a, b) return precedes(b, a) end)
else
  ids = call('ZREVRANGEBYLEX', P .. 'ie:' .. tenant, bound ~= '' and '(' .. bound or '+', '-', 'LIMIT', 0, most)
end
local bodies, found = hmget(P .. 'e', ids), {}
for at, id in ipairs(ids) do
  local line = described(bodies[at])
  if bodies[at] and (not line or (line[2] == tenant
    and (not wanted.type or line[3] == wanted.type)
    and (not wanted.key or line[15] == wanted.key)
    and (wanted.planned == nil or (call('HEXISTS', P .. 'o', id) == 0) == wanted.planned))) then
    found[#found + 1] = { id, bodies[at] }
  end
  if #found == limit then
    return { found, false }
  end
end
return { found, not wanted.ids and #ids == most and ids[#ids] }
