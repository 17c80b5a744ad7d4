-- ARGV: tenant, delivery.
local row = row_of(ARGV[2])
return row and row[TENANT] == ARGV[1] and call('HGET', P .. 'a', ARGV[2]) or ''
