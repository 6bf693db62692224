module warren.invalid/compat

go 1.21

require (
	github.com/rabbitmq/amqp091-go v1.16.0
	github.com/streadway/amqp v1.1.0
)
