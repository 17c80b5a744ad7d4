-- Writes that are put off to the end of the script, where each key takes one command for all of its members.
-- What is put off for a key is read here by `hget`; no script reads a sorted set after it has put off a write to it.
local zsets, hashes = {}, {}

-- Add a member, or remove it (`false`).
local function zset(key, member, score)
  local members = zsets[key]
  if not members then
    members = {}
    zsets[key] = members
  end
  members[member] = score
end

-- Set a field, or delete it (`false`).
local function hset(key, field, value)
  local fields = hashes[key]
  if not fields then
    fields = {}
    hashes[key] = fields
  end
  fields[field] = value
end

local function hget(key, field)
  local fields = hashes[key]
  if fields and fields[field] ~= nil then
    return fields[field]
  end
  return call('HGET', key, field)
end

-- Run a command with any number of arguments, some at a time.
local function in_parts(command, key, arguments)
  for first = 1, #arguments, 1000 do
    call(command, key, unpack(arguments, first, math.min(first + 999, #arguments)))
  end
end

local function write_all()
  for key, members in pairs(zsets) do
    local added, removed = {}, {}
    for member, score in pairs(members) do
      if score then
        added[#added + 1] = score
        added[#added + 1] = member
      else
        removed[#removed + 1] = member
      end
    end
    in_parts('ZADD', key, added)
    in_parts('ZREM', key, removed)
  end
  for key, fields in pairs(hashes) do
    local set, deleted = {}, {}
    for field, value in pairs(fields) do
      if value then
        set[#set + 1] = field
        set[#set + 1] = value
      else
        deleted[#deleted + 1] = field
      end
    end
    in_parts('HSET', key, set)
    in_parts('HDEL', key, deleted)
  end
  zsets, hashes = {}, {}
end
