const polka = require('polka')

polka()
  .get('/hello/:name', (request, response) => response.end(`hello ${request.params.name}`))
  .listen(process.env.PORT)
