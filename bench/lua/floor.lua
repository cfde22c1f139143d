-- floor, hello: GET of an empty route.
require "counting"

expects = {[200] = true}

function shows(body) return body == "{}" end
