-- Deliveries in the order of their ids, out of several indexes.

local function source(key, low, high, is_reversed)
  return { key = key, low = low, high = high, is_reversed = is_reversed, ids = {}, at = 1 }
end

local function peek(its)
  if its.at > #its.ids and not its.is_last then
    if its.is_reversed then
      its.ids = call('ZREVRANGEBYLEX', its.key, its.high, its.low, 'LIMIT', 0, 100)
      its.high = its.ids[100] and '(' .. its.ids[100]
    else
      its.ids = call('ZRANGEBYLEX', its.key, its.low, its.high, 'LIMIT', 0, 100)
      its.low = its.ids[100] and '(' .. its.ids[100]
    end
    its.at, its.is_last = 1, #its.ids < 100
  end
  return its.ids[its.at]
end

-- The next id of all sources, of which each is in order.
local function next_id(sources, is_reversed)
  local chosen, id
  for _, its in ipairs(sources) do
    local first = peek(its)
    if first and (id == nil or (is_reversed and precedes(id, first)) or (not is_reversed and precedes(first, id))) then
      chosen, id = its, first
    end
  end
  if chosen then
    chosen.at = chosen.at + 1
  end
  return id
end

-- A delivery, or one that a digest has collected as far as the digest has come; and the item of that one.
local function listed(id)
  local row = row_of(id)
  if row then
    return row, nil
  end
  local item = unpacked(hget(P .. 'c', id))
  local carrier = item and row_of(item[I_DIGEST])
  if not carrier then
    return nil, nil
  end
  local its = { unpack(carrier, 1, COLUMNS) }
  its[EVENT], its[CREATED], its[TYPE], its[RECEIPT] = item[I_EVENT], item[I_AT], item[I_TYPE], false
  return its, item
end

-- Take what is listed out of its digest, as a delivery of its own that has ended.
local function end_item(id, row, item, state, reason, now)
  withdraw_item(id, item, row[TENANT])
  row[STATE], row[REASON], row[DUE], row[FINISHED], row[DIGEST] = state, reason, false, now, false
  row[FENCE], row[TRIES], row[ATTEMPTS], row[ABANDONED] = 0, 0, 0, 0
  row[WORKER], row[CLAIMED], row[LEASE] = '', 0, 0
  store(id, row, nil)
end

local function matches(row, wanted)
  return wanted.tenant == row[TENANT]
    and (not wanted.states or wanted.states[row[STATE]])
    and (not wanted.subscriber or wanted.subscriber == row[SUBSCRIBER])
    and (not wanted.event or wanted.event == row[EVENT])
    and (not wanted.type or wanted.type == row[TYPE])
    and (not wanted.since or row[CREATED] >= wanted.since)
    and (not wanted['until'] or row[CREATED] < wanted['until'])
end

-- Where deliveries that are meant can be found, from a bound on.
local function sources_of(wanted, bound, is_reversed)
  local low, high = '-', '+'
  if wanted.event then
    local first = 'dlv_' .. string.sub(wanted.event, 5)
    low, high = '[' .. first, '(' .. first .. '~'
  end
  if bound then
    if is_reversed then
      high = (high == '+' or precedes('(' .. bound, high)) and '(' .. bound or high
    else
      low = (low == '-' or precedes(string.sub(low, 2), bound)) and '(' .. bound or low
    end
  end
  local classes = {}
  for state, class in pairs(CLASS) do
    if not wanted.states or wanted.states[state] then
      classes[class] = true
    end
  end
  local keys = {}
  if wanted.subscriber and not wanted.event then
    local its = pair(wanted.tenant, wanted.subscriber)
    if classes['io:'] then
      keys[#keys + 1] = 'so:' .. its
    end
    if classes['id:'] or classes['if:'] then
      keys[#keys + 1] = 'se:' .. its
    end
  else
    for class in pairs(classes) do
      keys[#keys + 1] = class .. wanted.tenant
    end
  end
  keys[#keys + 1] = 'ic:' .. wanted.tenant
  local sources = {}
  for at, key in ipairs(keys) do
    sources[at] = source(P .. key, low, high, is_reversed)
  end
  return sources
end

-- An iterator over the ids of deliveries that may be meant.
local function candidates(wanted, bound, is_reversed)
  if wanted.ids then
    local ids = {}
    for _, id in ipairs(wanted.ids) do
      if not bound or (is_reversed and precedes(id, bound)) or (not is_reversed and precedes(bound, id)) then
        ids[#ids + 1] = id
      end
    end
    table.sort(ids, is_reversed and function(a, b) return precedes(b, a) end or precedes)
    local at = 0
    return function()
      at = at + 1
      return ids[at]
    end
  end
  local sources = sources_of(wanted, bound, is_reversed)
  return function()
    return next_id(sources, is_reversed)
  end
end

local function wanted_from(text)
  local wanted = cjson.decode(text)
  wanted.states = wanted.states and set_of(wanted.states)
  return wanted
end
