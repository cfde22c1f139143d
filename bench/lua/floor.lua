-- floor: GET of an empty route.
require "counting"

function expected(status, body) return status == 200 end
