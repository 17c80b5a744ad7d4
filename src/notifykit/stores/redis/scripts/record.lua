-- ARGV: the records, then the events that they bring.  Returns the ids of those that were written.
local records, written, is_work = cjson.decode(ARGV[1]), {}, false
local ids = {}
for at, record in ipairs(records) do
  ids[at] = record[R_ID]
end
fetch(ids)
for _, record in ipairs(records) do
  local was_written, brought = write(record)
  if was_written then
    written[#written + 1] = record[R_ID]
  end
  is_work = is_work or brought
end
flush()
if is_work then
  notify()
end
return written
