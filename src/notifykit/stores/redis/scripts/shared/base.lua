-- What every script begins with.  KEYS[1] is the prefix, whose hash tag puts all keys into one slot.
local P = KEYS[1] .. ':'
local call = redis.call

-- Two texts as one, so that no other two texts make the same: tenants and ids may contain any character.
local function pair(a, b)
  return #a .. ':' .. a .. b
end

local function unpair(text)
  local colon = string.find(text, ':', 1, true)
  local last = colon + tonumber(string.sub(text, 1, colon - 1))
  return string.sub(text, colon + 1, last), string.sub(text, last + 1)
end

-- Lua writes large numbers with 14 digits, instants have 16.
local function int(number)
  return string.format('%.0f', number)
end

-- Whether a text sorts before another one byte by byte, as in a sorted set; `<` follows the locale of the server.
local function precedes(a, b)
  for at = 1, math.min(#a, #b) do
    local ours, theirs = string.byte(a, at), string.byte(b, at)
    if ours ~= theirs then
      return ours < theirs
    end
  end
  return #a < #b
end

local function set_of(list)
  local set = {}
  for _, item in ipairs(list) do
    set[item] = true
  end
  return set
end

-- Fields of a hash, a thousand at a time: Lua takes some thousand arguments at the most.
local function hmget(key, fields)
  local found = {}
  for first = 1, #fields, 1000 do
    local last = math.min(first + 999, #fields)
    local part = call('HMGET', key, unpack(fields, first, last))
    for at = first, last do
      found[at] = part[at - first + 1]
    end
  end
  return found
end

local function notify()
  call('PUBLISH', P .. 'wake', '')
end

local function unpacked(raw)
  if not raw then
    return false
  end
  local read, value = pcall(cmsgpack.unpack, raw)
  return read and type(value) == 'table' and value
end
