-- ARGV: what is to be known of each item, then the items.
for at, meta in ipairs(cjson.decode(ARGV[1])) do
  local tenant, recipient, id, created, category, kind, resource, marks = unpack(meta)
  local name = name_of(tenant, recipient)
  if call('HEXISTS', P .. 'inbox:' .. name, id) == 0 then
    local inbox = inbox_of(name) or { created, created }
    inbox[LAST] = inbox[LAST] + 1
    save_inbox(name, inbox)
    call('ZADD', P .. 'inbox:ids:' .. name, 0, id)
    save_item(name, id, {
      inbox[LAST], inbox[LAST], marks[1], marks[2], marks[3], marks[4], category, kind, resource, ARGV[at + 1],
    })
  end
end
notify_inboxes()
