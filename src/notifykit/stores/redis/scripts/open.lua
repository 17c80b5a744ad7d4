-- ARGV: the version of the layout, which an empty store gets.  Returns the one that the store has.
call('SET', P .. 'layout', ARGV[1], 'NX')
return call('GET', P .. 'layout')
