-- ARGV: kind, tenant, whether the tenant's version is raised (or 'first': if there was none), then the records: id, version, what is kept beside it
-- (JSON of a text or false, and of match keys), JSON.  Returns 1 for each that was not stale.
local kind, tenant, saved, is_any = ARGV[1], ARGV[2], {}, false
local raises = ARGV[3] == '1' or (ARGV[3] == 'first' and call('ZCARD', P .. 'ri:' .. pair(kind, tenant)) == 0)
for at = 4, #ARGV, 4 do
  local id, version = ARGV[at], tonumber(ARGV[at + 1])
  local old = record_of(kind, tenant, id)
  saved[#saved + 1] = 0
  if (old and old[1] or 0) == version then
    local beside = cjson.decode(ARGV[at + 2])
    put_record(kind, tenant, id, { version + 1, ARGV[at + 3], beside[1], beside[2] })
    saved[#saved], is_any = 1, true
  end
end
if is_any and raises then
  raise_version(tenant)
end
return saved
