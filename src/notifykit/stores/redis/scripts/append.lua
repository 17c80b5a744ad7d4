-- ARGV: a list of what is to be known of each event, then the events.  Returns (place, event id, fingerprint) of each
-- that is known already.
local known, metas, ids = {}, cjson.decode(ARGV[1]), {}
for at, meta in ipairs(metas) do
  ids[at] = meta[1]
end
for at, raw in ipairs(hmget(P .. 'e', ids)) do
  texts[ids[at]] = raw
end
for at, meta in ipairs(metas) do
  local held = append(meta, ARGV[at + 1])
  if held then
    known[#known + 1] = { at - 1, held[1], held[2] }
  end
end
flush()
notify()
return known
