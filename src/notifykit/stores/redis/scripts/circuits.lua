local found = {}
for at, raw in ipairs(call('HVALS', P .. 'circuits')) do
  local circuit = unpacked(raw)
  found[at] = circuit and circuit[2]
end
return found
