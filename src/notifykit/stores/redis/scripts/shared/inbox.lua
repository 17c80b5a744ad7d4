-- Inboxes: inboxes holds the numbers before the first and of the last change of each, inbox: its items.  Of the items
-- there are sets in the order of their numbers (all, and those in a state whatever the hour), in that of their last
-- changes, and in that of their ids.
local NUMBER, CHANGE, SEEN, READ, ARCHIVED, SNOOZED, CATEGORY, KIND, RESOURCE, TEXT = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local BASE, LAST = 1, 2
local SETS = {
  active = function(item) return not item[ARCHIVED] end,
  unseen = function(item) return not item[ARCHIVED] and not item[SEEN] end,
  unread = function(item) return not item[ARCHIVED] and not item[READ] end,
  read = function(item) return not item[ARCHIVED] and item[READ] end,
  snoozed = function(item) return not item[ARCHIVED] and item[SNOOZED] end,
  archived = function(item) return item[ARCHIVED] end,
  all = function() return true end,
}

local function name_of(tenant, recipient)
  return pair(tenant, recipient)
end

local function inbox_of(name)
  return unpacked(call('HGET', P .. 'inboxes', name))
end

local function save_inbox(name, inbox)
  call('HSET', P .. 'inboxes', name, cmsgpack.pack(inbox))
end

local function item_of(name, id)
  return unpacked(call('HGET', P .. 'inbox:' .. name, id))
end

-- Keep an item that is new or has changed; `old` is the item as it was.
local function save_item(name, id, item, old)
  call('HSET', P .. 'inbox:' .. name, id, cmsgpack.pack(item))
  call('ZADD', P .. 'inbox:changes:' .. name, item[CHANGE], id)
  for set, has in pairs(SETS) do
    local was, is = old and has(old), has(item)
    if is and not was then
      call('ZADD', P .. 'inbox:' .. set .. ':' .. name, item[NUMBER], id)
    elseif was and not is then
      call('ZREM', P .. 'inbox:' .. set .. ':' .. name, id)
    end
  end
end

local function is_in(item, state, now)
  if state == 'all' or state == 'archived' then
    return SETS[state](item)
  end
  local is_snoozed = item[SNOOZED] and item[SNOOZED] > now
  if state == 'snoozed' then
    return is_snoozed and not item[ARCHIVED]
  end
  return SETS[state](item) and not is_snoozed
end

local function is_meant(item, wanted, now)
  return is_in(item, wanted.state, now)
    and (not wanted.category or wanted.category == item[CATEGORY])
    and (not wanted.kind or (wanted.kind == item[KIND] and wanted.id == item[RESOURCE]))
end

-- Call `use` with the items that are meant, newest first, until it returns true.
local function newest(name, wanted, now, after, use)
  local key, high = P .. 'inbox:' .. wanted.state .. ':' .. name, after and '(' .. int(after) or '+inf'
  while high do
    local ids = call('ZREVRANGEBYSCORE', key, high, '-inf', 'LIMIT', 0, 100)
    local items = hmget(P .. 'inbox:' .. name, ids)
    high = nil
    for at, id in ipairs(ids) do
      local item = unpacked(items[at])
      if item then
        high = #ids == 100 and '(' .. int(item[NUMBER])
        if is_meant(item, wanted, now) and use(id, item) then
          return
        end
      end
    end
  end
end

-- The same with those of some items that are meant: the others are not read.
local function newest_of(name, ids, wanted, now, use)
  local found = {}
  for at, raw in ipairs(hmget(P .. 'inbox:' .. name, ids)) do
    local item = unpacked(raw)
    if item and is_meant(item, wanted, now) then
      found[#found + 1] = { ids[at], item }
    end
  end
  table.sort(found, function(a, b) return a[2][NUMBER] > b[2][NUMBER] end)
  for _, each in ipairs(found) do
    if use(unpack(each)) then
      return
    end
  end
end

local function item_answer(id, item)
  return { id, item[NUMBER], item[CHANGE], item[SEEN], item[READ], item[ARCHIVED], item[SNOOZED], item[TEXT] }
end

local function notify_inboxes()
  call('PUBLISH', P .. 'inbox', '')
end
