-- ARGV: kind, tenant, ids.
return read_records(ARGV[1], ARGV[2], cjson.decode(ARGV[3]))
