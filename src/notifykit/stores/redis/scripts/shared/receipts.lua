-- Receipts of providers whose delivery is not known: pw holds them, pl when they are looked at.
local M_PROVIDER, M_ID, M_DELIVERY, M_REFERENCE, M_KIND, M_RANK, M_CONFIRMS = 1, 2, 3, 4, 5, 6, 7

-- The id and the row of the delivery that is named, or else of the one that has the reference.
local function recipient_of(delivery, reference)
  if delivery and row_of(delivery) then
    return delivery, row_of(delivery)
  end
  local id = reference and hget(P .. 'rf', reference)
  return id, id and row_of(id)
end
