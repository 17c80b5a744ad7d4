-- ARGV: tenant, delivery.  Returns the attempts, a line each, and the receipts.
local row = row_of(ARGV[2])
if not row or row[TENANT] ~= ARGV[1] then
  return { '', {} }
end
return { call('HGET', P .. 'a', ARGV[2]) or '', row[RECEIPT] and call('HVALS', P .. 'p:' .. ARGV[2]) or {} }
