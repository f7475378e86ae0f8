package app

// CleanHeaders is one pass of app/header-names, for its benchmark.
var CleanHeaders = cleanHeaders
