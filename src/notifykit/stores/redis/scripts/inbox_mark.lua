-- ARGV: tenant, recipient, the mark, now, until when, the filter, the ids (a list of none or one list), the limit.
-- Returns the ids of the items that have changed.
local name, mark, now, until_ = name_of(ARGV[1], ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]) or false
local wanted, ids, limit = cjson.decode(ARGV[6]), cjson.decode(ARGV[7])[1], tonumber(ARGV[8])

local function marked(item)
  local its = { unpack(item, 1, TEXT) }
  if mark == 'seen' or mark == 'read' then
    its[SEEN] = its[SEEN] or now
    its[READ] = its[READ] or (mark == 'read' and now)
  elseif mark == 'unread' then
    its[READ] = false
  elseif mark == 'archived' then
    its[ARCHIVED] = its[ARCHIVED] or now
  elseif mark == 'unarchived' then
    its[ARCHIVED] = false
  else
    its[SNOOZED] = mark == 'snoozed' and until_
  end
  for column = SEEN, SNOOZED do
    if its[column] ~= item[column] then
      return its
    end
  end
  return nil
end

local chosen = {}

local function choose(id, item)
  local its = marked(item)
  if its then
    chosen[#chosen + 1] = { id, its, item }
  end
  return #chosen == limit
end

if ids then
  newest_of(name, ids, wanted, now, choose)
else
  newest(name, wanted, now, nil, choose)
end
local changed = {}
if #chosen > 0 then
  local inbox = inbox_of(name)
  inbox[LAST] = inbox[LAST] + 1
  save_inbox(name, inbox)
  for at, each in ipairs(chosen) do
    each[2][CHANGE] = inbox[LAST]
    save_item(name, unpack(each))
    changed[at] = each[1]
  end
  notify_inboxes()
end
return changed
