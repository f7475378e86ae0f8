package app

const BodyPatience = bodyPatience
