-- ARGV: a hash.  Returns its fields: the tenants (v), or the names of all inboxes (inboxes).
return call('HKEYS', P .. ARGV[1])
