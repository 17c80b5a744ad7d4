-- ARGV: now, how the keys of people's buckets begin, then the requests: tenant, bucket, how many, rate, burst.
local now, prefix, acquired = tonumber(ARGV[1]), ARGV[2], {}
for at = 3, #ARGV, 5 do
  local name, burst = pair(ARGV[at], ARGV[at + 1]), tonumber(ARGV[at + 4])
  local known = unpacked(call('HGET', P .. 'b', name))
  local bucket = known or { burst, now }
  -- A clock that is behind the one that filled last adds nothing and takes nothing back.
  local passed = math.max(now - bucket[2], 0) / 1e6
  local tokens = math.min(burst, bucket[1] + passed * tonumber(ARGV[at + 3]))
  local got = math.max(math.min(tonumber(ARGV[at + 2]), math.floor(tokens)), 0)
  local filled = math.max(now, bucket[2])
  call('HSET', P .. 'b', name, cmsgpack.pack({ tokens - got, filled }))
  if string.sub(ARGV[at + 1], 1, #prefix) == prefix then
    call('ZADD', P .. 'caps', filled, name)
    if not known then
      call('ZADD', P .. 'capnames', 0, name)
    end
  end
  acquired[#acquired + 1] = got
end
return acquired
