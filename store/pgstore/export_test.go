package pgstore

var Config = config
