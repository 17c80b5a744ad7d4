-- ARGV: tenant, recipient, now, where to stop.
local name, most, counts = name_of(ARGV[1], ARGV[2]), tonumber(ARGV[4]), { 0, 0 }
for at, state in ipairs({ 'unseen', 'unread' }) do
  newest(name, { state = state }, tonumber(ARGV[3]), nil, function()
    counts[at] = counts[at] + 1
    return counts[at] == most
  end)
end
return counts
